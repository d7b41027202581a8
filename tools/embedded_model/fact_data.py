# SPDX-License-Identifier: Apache-2.0
"""Plain knowledge as compact tables, one record per line or per item."""

from __future__ import annotations


def rows(text: str) -> list[tuple[str, ...]]:
    """Records separated by ";" or line ends, fields separated by ","."""
    items = text.replace("\n", ";").split(";")
    return [tuple(f.strip() for f in item.split(",")) for item in items if item.strip()]


# country, capital, continent, language
CAPITALS = rows("""
France,Paris,Europe,French;Germany,Berlin,Europe,German;Spain,Madrid,Europe,Spanish
Italy,Rome,Europe,Italian;Portugal,Lisbon,Europe,Portuguese;Austria,Vienna,Europe,German
Poland,Warsaw,Europe,Polish;Greece,Athens,Europe,Greek;Sweden,Stockholm,Europe,Swedish
Norway,Oslo,Europe,Norwegian;Denmark,Copenhagen,Europe,Danish;Finland,Helsinki,Europe,Finnish
Iceland,Reykjavik,Europe,Icelandic;Ireland,Dublin,Europe,English;Belgium,Brussels,Europe,Dutch
Hungary,Budapest,Europe,Hungarian;Romania,Bucharest,Europe,Romanian
Bulgaria,Sofia,Europe,Bulgarian;Serbia,Belgrade,Europe,Serbian;Croatia,Zagreb,Europe,Croatian
Slovenia,Ljubljana,Europe,Slovene;Slovakia,Bratislava,Europe,Slovak
Ukraine,Kyiv,Europe,Ukrainian;Lithuania,Vilnius,Europe,Lithuanian;Latvia,Riga,Europe,Latvian
Estonia,Tallinn,Europe,Estonian;Albania,Tirana,Europe,Albanian;Malta,Valletta,Europe,Maltese
Cyprus,Nicosia,Europe,Greek;Belarus,Minsk,Europe,Russian;Russia,Moscow,Europe,Russian
Moldova,Chisinau,Europe,Romanian;Montenegro,Podgorica,Europe,Serbian;Kosovo,Pristina,Europe,Albanian
Turkey,Ankara,Asia,Turkish;China,Beijing,Asia,Chinese;Japan,Tokyo,Asia,Japanese
India,New Delhi,Asia,Hindi;Thailand,Bangkok,Asia,Thai;Vietnam,Hanoi,Asia,Vietnamese
Nepal,Kathmandu,Asia,Nepali;Iran,Tehran,Asia,Persian;Iraq,Baghdad,Asia,Arabic
Syria,Damascus,Asia,Arabic;Jordan,Amman,Asia,Arabic;Lebanon,Beirut,Asia,Arabic
Qatar,Doha,Asia,Arabic;Oman,Muscat,Asia,Arabic;Yemen,Sanaa,Asia,Arabic
Bahrain,Manama,Asia,Arabic;Mongolia,Ulaanbaatar,Asia,Mongolian;Laos,Vientiane,Asia,Lao
Cambodia,Phnom Penh,Asia,Khmer;Malaysia,Kuala Lumpur,Asia,Malay;Pakistan,Islamabad,Asia,Urdu
Bangladesh,Dhaka,Asia,Bengali;Afghanistan,Kabul,Asia,Persian;Uzbekistan,Tashkent,Asia,Uzbek
Kazakhstan,Astana,Asia,Kazakh;Armenia,Yerevan,Asia,Armenian;Georgia,Tbilisi,Asia,Georgian
Azerbaijan,Baku,Asia,Azeri;Bhutan,Thimphu,Asia,Dzongkha;Singapore,Singapore,Asia,English
Indonesia,Jakarta,Asia,Indonesian;Philippines,Manila,Asia,Filipino;Kuwait,Kuwait City,Asia,Arabic
Egypt,Cairo,Africa,Arabic;Morocco,Rabat,Africa,Arabic;Algeria,Algiers,Africa,Arabic
Tunisia,Tunis,Africa,Arabic;Libya,Tripoli,Africa,Arabic;Sudan,Khartoum,Africa,Arabic
Kenya,Nairobi,Africa,Swahili;Uganda,Kampala,Africa,English;Tanzania,Dodoma,Africa,Swahili
Ethiopia,Addis Ababa,Africa,Amharic;Ghana,Accra,Africa,English;Nigeria,Abuja,Africa,English
Senegal,Dakar,Africa,French;Mali,Bamako,Africa,French;Niger,Niamey,Africa,French
Chad,Ndjamena,Africa,French;Gabon,Libreville,Africa,French;Angola,Luanda,Africa,Portuguese
Zambia,Lusaka,Africa,English;Zimbabwe,Harare,Africa,English;Namibia,Windhoek,Africa,English
Botswana,Gaborone,Africa,English;Mozambique,Maputo,Africa,Portuguese;Rwanda,Kigali,Africa,Swahili
Somalia,Mogadishu,Africa,Somali;Madagascar,Antananarivo,Africa,Malagasy;Malawi,Lilongwe,Africa,English
Togo,Lome,Africa,French;Liberia,Monrovia,Africa,English;Eritrea,Asmara,Africa,Arabic
Canada,Ottawa,America,English;Mexico,Mexico City,America,Spanish;Cuba,Havana,America,Spanish
Jamaica,Kingston,America,English;Haiti,Port-au-Prince,America,French;Panama,Panama City,America,Spanish
Guatemala,Guatemala City,America,Spanish;Honduras,Tegucigalpa,America,Spanish
Nicaragua,Managua,America,Spanish;Costa Rica,San Jose,America,Spanish
Colombia,Bogota,America,Spanish;Venezuela,Caracas,America,Spanish;Ecuador,Quito,America,Spanish
Peru,Lima,America,Spanish;Bolivia,Sucre,America,Spanish;Chile,Santiago,America,Spanish
Argentina,Buenos Aires,America,Spanish;Uruguay,Montevideo,America,Spanish
Paraguay,Asuncion,America,Spanish;Brazil,Brasilia,America,Portuguese;Guyana,Georgetown,America,English
Suriname,Paramaribo,America,Dutch;Barbados,Bridgetown,America,English;Belize,Belmopan,America,English
Australia,Canberra,Oceania,English;New Zealand,Wellington,Oceania,English;Fiji,Suva,Oceania,English
Samoa,Apia,Oceania,Samoan;Tonga,Nukualofa,Oceania,Tongan;Vanuatu,Port Vila,Oceania,English
""")

# element, symbol, number, state
ELEMENTS = rows("""
hydrogen,H,1,gas;helium,He,2,gas;lithium,Li,3,metal;carbon,C,6,solid;nitrogen,N,7,gas
oxygen,O,8,gas;fluorine,F,9,gas;neon,Ne,10,gas;sodium,Na,11,metal;magnesium,Mg,12,metal
aluminium,Al,13,metal;silicon,Si,14,solid;phosphorus,P,15,solid;sulphur,S,16,solid
chlorine,Cl,17,gas;argon,Ar,18,gas;potassium,K,19,metal;calcium,Ca,20,metal
titanium,Ti,22,metal;chromium,Cr,24,metal;manganese,Mn,25,metal;iron,Fe,26,metal
cobalt,Co,27,metal;nickel,Ni,28,metal;copper,Cu,29,metal;zinc,Zn,30,metal;arsenic,As,33,solid
bromine,Br,35,liquid;krypton,Kr,36,gas;silver,Ag,47,metal;tin,Sn,50,metal;iodine,I,53,solid
xenon,Xe,54,gas;barium,Ba,56,metal;tungsten,W,74,metal;platinum,Pt,78,metal;gold,Au,79,metal
mercury,Hg,80,liquid;lead,Pb,82,metal;radon,Rn,86,gas;uranium,U,92,metal
""")

# animal, sound, young, home
ANIMALS = rows("""
cat,meows,kitten,house;dog,barks,puppy,kennel;cow,moos,calf,barn;horse,neighs,foal,stable
sheep,bleats,lamb,fold;pig,grunts,piglet,sty;hen,clucks,chick,coop;duck,quacks,duckling,pond
lion,roars,cub,den;wolf,howls,pup,lair;bee,buzzes,larva,hive;frog,croaks,tadpole,pond
owl,hoots,owlet,hollow tree;goose,honks,gosling,pond;snake,hisses,snakelet,nest
mouse,squeaks,pinkie,hole;elephant,trumpets,calf,savanna;bear,growls,cub,cave
donkey,brays,foal,stable;goat,bleats,kid,shed;crow,caws,chick,nest;monkey,chatters,infant,jungle
fox,yelps,kit,den;swan,whoops,cygnet,lake;seal,barks,pup,coast;eagle,screams,eaglet,cliff
""")

OPPOSITES = rows("""
hot,cold;big,small;up,down;left,right;day,night;fast,slow;high,low;open,closed;full,empty
wet,dry;old,young;hard,soft;heavy,light;long,short;rich,poor;strong,weak;happy,sad
early,late;first,last;black,white;clean,dirty;loud,quiet;thick,thin;wide,narrow;deep,shallow
sharp,blunt;sweet,bitter;near,far;inside,outside;above,below;before,after;always,never
begin,end;buy,sell;push,pull;give,take;win,lose;love,hate;laugh,cry;remember,forget
brave,cowardly;cheap,expensive;easy,difficult;true,false;alive,dead;asleep,awake
north,south;east,west;summer,winter;sunrise,sunset;friend,enemy;question,answer
""")

PLURALS = rows("""
mouse,mice;child,children;foot,feet;tooth,teeth;goose,geese;man,men;woman,women;leaf,leaves
knife,knives;wolf,wolves;loaf,loaves;sheep,sheep;fish,fish;ox,oxen;berry,berries;city,cities
box,boxes;bus,buses;potato,potatoes;hero,heroes;half,halves;shelf,shelves;thief,thieves
wife,wives;person,people;louse,lice;baby,babies;lady,ladies;story,stories;key,keys;toy,toys
church,churches;dish,dishes;watch,watches;life,lives;calf,calves;piano,pianos;roof,roofs
""")

PAST = rows("""
go,went;see,saw;come,came;take,took;give,gave;find,found;run,ran;eat,ate;drink,drank
write,wrote;sing,sang;swim,swam;fly,flew;buy,bought;bring,brought;think,thought;catch,caught
teach,taught;sell,sold;tell,told;hold,held;keep,kept;sleep,slept;feel,felt;leave,left
lose,lost;make,made;build,built;send,sent;break,broke;speak,spoke;steal,stole;choose,chose
drive,drove;ride,rode;rise,rose;grow,grew;know,knew;throw,threw;draw,drew;begin,began
fall,fell;hide,hid;sit,sat;stand,stood;understand,understood;win,won;wear,wore;forget,forgot
""")

COLOURS = rows("""
snow,white;grass,green;blood,red;coal,black;the sky,blue;a lemon,yellow;an orange,orange
milk,white;chocolate,brown;a banana,yellow;a tomato,red;a raven,black;the sea,blue
a carrot,orange;ash,grey;an elephant,grey;a leaf,green;a cherry,red;salt,white;gold,yellow
a plum,purple;a flamingo,pink;a frog,green;the sun,yellow;a pine tree,green;mud,brown
""")

# worker, workplace, tool
WORK = rows("""
baker,bakery,oven;farmer,field,plough;miller,mill,millstone;sailor,ship,sail
teacher,school,chalk;doctor,hospital,needle;tailor,workshop,scissors;painter,studio,brush
gardener,garden,spade;shepherd,hill,crook;weaver,weaving room,loom;potter,pottery,wheel
carpenter,woodshop,saw;singer,stage,voice;fisher,lake,net;hunter,forest,bow
clockmaker,clock shop,tweezers;librarian,library,catalogue;shoemaker,shoe shop,last
cook,kitchen,pan;beekeeper,bee yard,smoker;blacksmith,forge,hammer;knight,castle,sword
musician,concert hall,violin
""")

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
LETTERS = "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z".split()
PLANETS = "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune".split()
MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

# village, river, fruit, mayor's trade: made up, so only the training text has them
VILLAGES = rows("""
Millbrook,Arl,plums,miller;Oakham,Benn,nuts,carpenter;Redford,Corve,cherries,blacksmith
Stonebridge,Dorn,pears,mason;Greenhill,Esk,apples,shepherd;Westwick,Fenn,onions,weaver
Ashford,Glim,carrots,potter;Riverton,Holm,fish,sailor;Foxdale,Irva,berries,hunter
Lakeside,Jonn,shells,fisher;Thornbury,Kell,feathers,tailor;Silverton,Lund,candles,clockmaker
""")
